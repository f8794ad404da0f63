{{ config(
    unique_key=replaced_by('received_day'),
    partition_by=partitions('received_day', 'date', 'day'),
    cluster_by=['sent_id'],
    pre_hook="{{ segment_bigquery.remove_days_without_events('not is_server') }}"
) }}

with events as (
    select
        *,
        type in ('Page', 'Screen') as is_view
    from {{ ref('stg_segment__events') }}
    where {{ received_anew('not is_server') }}
),

gaps as (
    select
        *,
        lag(timestamp) over (partition by received_day, sent_id order by timestamp, message_id) as timestamp_before
    from events
),

numbered as (
    select
        *,
        sum(case
            when timestamp_before is null or timestamp > {{ plus_minutes('timestamp_before', var('session_minutes')) }} then 1
            else 0
        end) over (
            partition by received_day, sent_id
            order by timestamp, message_id
            rows between unbounded preceding and current row
        ) as visit
    from gaps
),

ranked as (
    select
        *,
        row_number() over (partition by received_day, sent_id, visit order by timestamp, message_id) as nth,
        row_number() over (
            partition by received_day, sent_id, visit, is_view order by timestamp, message_id
        ) as nth_view,
        row_number() over (
            partition by received_day, sent_id, visit, is_view order by timestamp desc, message_id desc
        ) as nth_last_view,
        row_number() over (
            partition by received_day, sent_id, visit
            order by case when group_id is null then 1 else 0 end, timestamp desc, message_id desc
        ) as nth_last_group
    from numbered
)

select
    received_day,
    sent_id,
    min(timestamp) as started_at,
    max(timestamp) as ended_at,
    max(case when nth = 1 then message_id end) as first_message_id,
    max(case when nth = 1 then connection end) as connection,
    count(*) as events,
    count(case when type = 'Page' then 1 end) as pages,
    count(case when type = 'Screen' then 1 end) as screens,
    count(case when type = 'Action' then 1 end) as actions,
    max(case when nth_last_group = 1 then group_id end) as group_id,
    max(case when nth_last_group = 1 and group_id is not null then timestamp end) as group_at,
    max(case when nth_last_group = 1 and group_id is not null then message_id end) as group_message_id,
    max(case when is_view and nth_view = 1 then timestamp end) as entry_at,
    max(case when is_view and nth_view = 1 then message_id end) as entry_message_id,
    {%- for column in ['name', 'url', 'path', 'referrer'] %}
    max(case when is_view and nth_view = 1 then {{ column }} end) as entry_{{ column }},
    {%- endfor %}
    {%- for column in ['utm_source', 'utm_medium', 'utm_campaign', 'utm_term', 'utm_content'] %}
    max(case when is_view and nth_view = 1 then {{ column }} end) as {{ column }},
    {%- endfor %}
    max(case when is_view and nth_view = 1 then connection end) as entry_connection,
    max(case when is_view and nth_last_view = 1 then timestamp end) as exit_at,
    max(case when is_view and nth_last_view = 1 then message_id end) as exit_message_id,
    max(case when is_view and nth_last_view = 1 then name end) as exit_name,
    max(case when is_view and nth_last_view = 1 then path end) as exit_path
from ranked
group by received_day, sent_id, visit
