with active as (
    select distinct
        activity.external_id,
        {{ week_of('activity.day') }} as week
    from {{ ref('activity_daily') }} as activity
    inner join {{ ref('stg_segment__contacts') }} as contact on contact.external_id = activity.external_id
    where not activity.is_server
),

first_weeks as (
    select
        external_id,
        min(week) as cohort_week
    from active
    group by external_id
),

cohorts as (
    select
        cohort_week,
        count(*) as cohort_people
    from first_weeks
    group by cohort_week
),

weeks as (
    select distinct {{ week_of('day') }} as week
    from {{ days('(select min(week) from active)', '(select max(week) from active)') }} as day
),

returned as (
    select
        first_weeks.cohort_week,
        active.week,
        count(*) as people
    from first_weeks
    inner join active on active.external_id = first_weeks.external_id
    group by first_weeks.cohort_week, active.week
)

select
    cohorts.cohort_week,
    weeks.week,
    cast({{ days_between('cohorts.cohort_week', 'weeks.week') }} / 7 as {{ dbt.type_int() }}) as weeks_since,
    cohorts.cohort_people,
    coalesce(returned.people, 0) as people,
    coalesce(returned.people, 0) / cohorts.cohort_people as share
from cohorts
inner join weeks on weeks.week >= cohorts.cohort_week
left join returned on returned.cohort_week = cohorts.cohort_week and returned.week = weeks.week
