-- MetricFlow compares it with times, which in BigQuery are DATETIME.
select cast(day as datetime) as date_day
from {{ days(
    '(select min(day) from ' ~ ref('activity_daily') ~ ')',
    '(select max(day) from ' ~ ref('activity_daily') ~ ')'
) }} as day
