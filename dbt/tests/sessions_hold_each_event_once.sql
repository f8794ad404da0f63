-- No session without its visits: the events of sessions are those of visits.
select
    (select sum(events) from {{ ref('sessions') }}) as in_sessions,
    (select sum(events) from {{ ref('int_visits') }}) as in_visits
from (select 1 as one) as once
where
    coalesce((select sum(events) from {{ ref('sessions') }}), 0)
    != coalesce((select sum(events) from {{ ref('int_visits') }}), 0)
