"""The next article by STIM and by the floors: news clicks of Globo.

The second half; the session's earlier clicks are left out.

Strict: a click becomes known a millisecond later, the log's tick. A fifth of the events ranked, of the whole
catalogue, unless --share says otherwise. A few minutes; the log may not be redistributed, so its folder has
to be given.
"""

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.quality import RANKED, rankers, ranking_bars
from benchmarks.tables import Row, Tables

MODEL = "stim"
SPEED = "speed, file to report"


def measure(bench: Bench, *, globo: str, share: float) -> Tables:
    replayed = bench.replays(
        globo,
        learner=MODEL,
        label_delay="1ms",
        leave_out="session",
        score_from=0.5,
        rank_share=share,
        title=f"{MODEL}, strict (1 ms)",
    )[0]
    speed: Row = {"what": MODEL, "CPU s": replayed.cpu_s, "events per CPU-second": replayed.rate()}
    return {RANKED: rankers(replayed), SPEED: [speed]}


BENCHMARK = Benchmark(
    measure=measure,
    options={
        "globo": Option(
            help="folder of news clicks",
            quick="planted:users=20,items=30,events=400,labels=0",
            metavar="DIR",
            required=True,
        ),
        "share": Option(
            help="share of the events that is ranked", default=0.2, quick=1.0, kind=float, metavar="PART"
        ),
    },
    bars=ranking_bars(
        MODEL, {"recall@1": (0.212, 0.238), "recall@10": (0.715, 0.730), "NDCG@10": (0.452, 0.463)}
    ),
)
