"""What columns are usually called, by the role they play. Order is priority: the first name found wins."""

import re

_TYPED = re.compile(r":(token|token_seq|float|float_seq)$")
"""RecBole's typed headers: `user_id:token`."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def plain(column: str) -> str:
    """A column name in lower case, words joined by `_`, without RecBole's type.

    >>> plain("userId:token"), plain("Movie Title"), plain("click_deviceGroup")
    ('user_id', 'movie_title', 'click_device_group')
    """
    words = _CAMEL.sub("_", _TYPED.sub("", column.strip().lstrip("\ufeff")))
    return re.sub(r"[^0-9a-z]+", "_", words.lower()).strip("_")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


USUAL: dict[str, tuple[str, ...]] = {
    "user": _words(
        "user user_id userid uid user_idx user_key customer customer_id customerid visitor_id visitorid"
        " household_id household hshd_num student_id student learner_id member_id memberid account_id"
        " client_id reviewer_id reviewerid author_id person_id player_id subscriber_id profile_id"
        " viewer_id reader_id passenger_id patient_id device_id cookie_id user_name username"
    ),
    "item": _words(
        "item item_id itemid iid item_idx item_key movie_id movieid movie product_id productid product"
        " poi_id poi article_id click_article_id article news_id newsid venue_id venueid venue business_id"
        " gmap_id asin parent_asin book_id bookid isbn track_id song_id music_id artist_id artist video_id"
        " videoid photo_id post_id content_id goods_id sku_id sku stock_code offer_id listing_id"
        " property_id hotel_id restaurant_id recipe_id game_id app_id anime_id course_id job_id"
        " event_item_id problem_id problem question_id exercise_id adgroup_id ad_id creative_id"
        " campaign_id document_id doc_id page_id url location_id station_id beer_id skill_id skill"
        " item_name product_name title"
    ),
    "time": _words(
        "time timestamp ts event_time event_timestamp event_ts time_ms time_stamp timestamp_ms datetime"
        " date_time unix_timestamp unix_time click_timestamp click_time transaction_timestamp"
        " transaction_time created_at created creation_time utc_time utc_timestamp server_time"
        " server_timestamp unix_review_time review_time rating_timestamp checkin_time start_time"
        " started_at purchase_time order_time invoice_date purchase_date order_date review_date t_dat date"
        " day dt ds time_local order seq sequence step tick"
    ),
    "label": _words(
        "label click clicked is_click is_clicked clk correct is_correct converted conversion is_converted"
        " like liked is_like purchased target"
    ),
    "rating": _words("rating ratings rate stars star_rating review_rating user_rating overall score"),
    "action": _words(
        "action action_type event event_type event_name behavior behavior_type behaviour behaviour_type"
        " interaction interaction_type activity"
    ),
    "category": _words(
        "category category_id categoryid category_code item_category product_category cate cate_id cat"
        " cat_id venue_category genre topic department skill_id skill"
    ),
    "lat": _words("lat latitude"),
    "lon": _words("lon lng long longitude"),
    "place": _words(
        "place place_id store_id store shop_id shop branch_id location venue_id location_id region region_id"
        " click_region"
    ),
    "tz": _words("tz tz_min tz_offset_min tz_offset timezone_offset timezone_offset_min utc_offset_min"),
    "session": _words(
        "session session_id sessionid basket_id basket order_id transaction_id transactionid visit_id"
        " invoice_no invoice trip_id search_id"
    ),
    "scene": _words("scene scene_id scenario scenario_id tab surface domain channel placement"),
    "source": _words("source source_id traffic_source"),
    "propensity": _words("propensity propensity_score pscore p_score"),
    "text": _words("text query review_text review comment body"),
    "event_id": _words("event_id eventid event_uuid uuid message_id"),
}
"""Role -> usual names, in the plain form."""

TIME_ENDINGS = ("_timestamp", "_time", "_ts", "_at", "_date")
"""A column whose name ends so is the time where no usual name is there and only one does."""
