{{ config(
    partition_by=partitions('started_at', 'timestamp', 'month'),
    cluster_by=['account_id', 'external_id']
) }}

-- Visits of one id are parts of sessions: those of all ids of a person that overlap, or follow each other within
-- the time of a session, are one.
with visits as (
    select
        visit.*,
        coalesce(identity.external_id, visit.sent_id) as external_id
    from {{ ref('int_visits') }} as visit
    left join {{ ref('stg_segment__identities') }} as identity on identity.id = visit.sent_id
),

gaps as (
    select
        *,
        max(ended_at) over (
            partition by external_id
            order by started_at, first_message_id, received_day
            rows between unbounded preceding and 1 preceding
        ) as ended_before
    from visits
),

numbered as (
    select
        *,
        sum(case
            when ended_before is null or started_at > {{ plus_minutes('ended_before', var('session_minutes')) }} then 1
            else 0
        end) over (
            partition by external_id
            order by started_at, first_message_id, received_day
            rows between unbounded preceding and current row
        ) as session_number
    from gaps
),

ranked as (
    select
        *,
        row_number() over (
            partition by external_id, session_number order by started_at, first_message_id, received_day
        ) as nth,
        row_number() over (
            partition by external_id, session_number
            order by case when entry_at is null then 1 else 0 end, entry_at, entry_message_id, received_day
        ) as nth_entry,
        row_number() over (
            partition by external_id, session_number
            order by case when exit_at is null then 1 else 0 end, exit_at desc, exit_message_id desc, received_day
        ) as nth_exit,
        row_number() over (
            partition by external_id, session_number
            order by case when group_at is null then 1 else 0 end, group_at desc, group_message_id desc, received_day
        ) as nth_group
    from numbered
),

sessions as (
    select
        external_id,
        session_number,
        max(case when nth = 1 then first_message_id end) as session_id,
        max(case when nth = 1 then connection end) as connection,
        min(started_at) as started_at,
        max(ended_at) as ended_at,
        count(distinct sent_id) as ids,
        sum(events) as events,
        sum(pages) as pages,
        sum(screens) as screens,
        sum(actions) as actions,
        max(case when nth_group = 1 then group_id end) as group_id,
        max(case when nth_entry = 1 then entry_name end) as entry_name,
        max(case when nth_entry = 1 then entry_url end) as entry_url,
        max(case when nth_entry = 1 then entry_path end) as entry_path,
        max(case when nth_entry = 1 then entry_referrer end) as referrer,
        {%- for column in ['utm_source', 'utm_medium', 'utm_campaign', 'utm_term', 'utm_content'] %}
        max(case when nth_entry = 1 then {{ column }} end) as {{ column }},
        {%- endfor %}
        max(case when nth_exit = 1 then exit_name end) as exit_name,
        max(case when nth_exit = 1 then exit_path end) as exit_path
    from ranked
    group by external_id, session_number
)

select
    session.session_id,
    session.external_id,
    session.session_number,
    coalesce(named.company_id, own.account_id) as account_id,
    session.connection,
    session.started_at,
    session.ended_at,
    {{ utc_date('session.started_at') }} as day,
    {{ seconds_between('session.started_at', 'session.ended_at') }} as duration_seconds,
    session.ids,
    session.events,
    session.pages,
    session.screens,
    session.actions,
    session.events = 1 as is_bounce,
    session.entry_name,
    session.entry_url,
    session.entry_path,
    session.referrer,
    {{ source_of('session.referrer', 'session.entry_url', 'session.utm_source') }} as source,
    {{ medium_of('session.referrer', 'session.entry_url', 'session.utm_source', 'session.utm_medium') }} as medium,
    session.utm_source,
    session.utm_medium,
    session.utm_campaign,
    session.utm_term,
    session.utm_content,
    session.exit_name,
    session.exit_path
from sessions as session
left join {{ ref('stg_segment__companies') }} as named on named.account_id = session.group_id
left join {{ ref('stg_segment__people_accounts') }} as own on own.external_id = session.external_id
