select day as date_day
from {{ days(
    '(select min(day) from ' ~ ref('activity_daily') ~ ')',
    '(select max(day) from ' ~ ref('activity_daily') ~ ')'
) }} as day
