{{ config(
    unique_key=replaced_by('received_day'),
    partition_by=partitions('received_day', 'date', 'day'),
    cluster_by=['type', 'name'],
    pre_hook="{{ segment_bigquery.remove_days_without_events() }}"
) }}

select
    received_day,
    day,
    sent_id,
    group_id,
    connection,
    type,
    name,
    is_server,
    count(*) as events,
    min(timestamp) as first_at,
    max(timestamp) as last_at
from {{ ref('stg_segment__events') }}
where {{ received_anew() }}
group by received_day, day, sent_id, group_id, connection, type, name, is_server
