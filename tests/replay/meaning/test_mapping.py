"""Which column plays which role: said, guessed, or refused with what to do."""

from pathlib import Path

import pytest

from replay.log import Log
from replay.meaning.mapping import Mapping, guess, resolve
from state.errors import InputError


@pytest.mark.parametrize(
    ("columns", "roles"),
    [
        ("userId,movieId,rating,timestamp", {"user": "userId", "item": "movieId"}),
        ("user_id:token,item_id:token,timestamp:float", {"user": "user_id:token", "time": "timestamp:float"}),
        ("visitorid,event,itemid,timestamp", {"user": "visitorid", "item": "itemid", "action": "event"}),
        ("household_id,store_id,basket_id,product_id,transaction_timestamp", {"place": "store_id"}),
        ("user_id,session_id,click_article_id,click_timestamp", {"item": "click_article_id"}),
        ("user_id,article_id,click_timestamp,click_region", {"place": "click_region"}),
        ("student,problem,skill,correct,order", {"item": "problem", "category": "skill", "time": "order"}),
        ("session_id,item_id,timestamp", {"user": "session_id"}),
        ("uid,poi_id,lat,lng,started_on,entry_time", {"lon": "lng", "time": "entry_time"}),
        ("customer_id,article_id,t_dat", {"user": "customer_id", "item": "article_id", "time": "t_dat"}),
    ],
)
def test_usual_names_need_no_mapping(columns: str, roles: dict[str, str]) -> None:
    found = resolve(Mapping(), columns.split(","), "log").columns
    assert roles.items() <= found.items()


def test_what_is_said_comes_before_what_is_guessed() -> None:
    said = Mapping.of(["item=song", "rating="])
    found = resolve(said, ["user", "item", "song", "time", "rating"], "log").columns
    assert found == {"user": "user", "item": "song", "time": "time"}


def test_a_column_plays_one_role() -> None:
    assert guess(["session_id", "item", "time"], "log", taken=["session_id"]) == {
        "item": "item",
        "time": "time",
    }


def test_pairs_and_toml_say_the_same(tmp_path: Path) -> None:
    mapping = Mapping.of(['user=the "user"', "item=i", "time=t", "time_unit=ms", "tz=-300"])
    (tmp_path / "m.toml").write_text(mapping.toml())
    assert Mapping.read(tmp_path / "m.toml") == mapping
    assert Mapping.of(mapping.flags()) == mapping


def test_one_mapping_completes_another() -> None:
    merged = Mapping.of(["user=a", "earliest=1970-01-01"]).over(Mapping({"user": "b", "item": "c"}))
    assert merged.columns == {"user": "a", "item": "c"}
    assert merged.earliest == "1970-01-01"


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["user"], "--map 'user': expected ROLE=COLUMN"),
        (["usr=a"], "--map: no role 'usr'; the roles are user, item, time, label"),
        (["user=a", "user=b"], "--map 'user=b': role 'user' was mapped already"),
        (["time_unit=h"], "--map: time_unit 'h' is none of s, ms, us, ns, date, tick"),
    ],
)
def test_bad_pairs(pairs: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Mapping.of(pairs)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("pairs", "columns", "message"),
    [
        (
            ["user=who"],
            "user,item,time",
            "log: no column 'who' for the role 'user'; there are user, item, time",
        ),
        ([], "user,item", "log: no column is the time; say which one with --map time=COLUMN (time=@row"),
        (
            [],
            "a,b,c",
            "log: no column is the user or the item or the time; say which one with --map user=COLUMN",
        ),
        (
            [],
            "userId,user_id,item,time",
            "log: columns 'userId' and 'user_id' could both be the user; say which",
        ),
        ([], "user,user,item,time", "log: column 'user' stands there twice; rename one"),
    ],
)
def test_columns_that_do_not_fit(pairs: list[str], columns: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve(Mapping.of(pairs), columns.split(","), "log")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [("user = ", "no TOML"), ("user = [1]", "'user' must be text"), (None, "No such file")],
)
def test_bad_mapping_files(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "m.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        Mapping.read(path)


def test_columns_that_play_no_role_are_named(tmp_path: Path) -> None:
    """Few by name; none where all are used, and a label's column is."""
    path, wide = tmp_path / "log.csv", tmp_path / "wide.csv"
    path.write_text("user,item,time,bought,device\n1,2,1700000000,1,x\n")
    (note,) = [n for n in Log.open(path, label="bought>0").notes if "not used" in n]
    assert note == "columns that are not used: 'device'; --map ROLE=COLUMN gives one a role"
    assert not [
        n for n in Log.open(path, mapping=Mapping.of(["source=device"]), label="bought>0").notes if "not" in n
    ]
    more = [f"c{n}" for n in range(30)]
    wide.write_text(f"user,item,time,{','.join(more)}\n1,2,1700000000{',0' * 30}\n")
    assert any("'c11' and 18 more;" in note for note in Log.open(wide).notes)
