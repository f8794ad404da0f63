-- A bound of the partitions that every row is within: where they must be filtered, no other query is accepted.
with events as (
    select *
    from {{ source('segment', 'events') }}
    where received_at >= timestamp '1960-01-01 00:00:00+00'
)

select
    message_id,
    type,
    name,
    timestamp,
    received_at,
    {{ utc_date('received_at') }} as received_day,
    {{ utc_date('timestamp') }} as day,
    coalesce(user_id, anonymous_id) as sent_id,
    group_id,
    connection,
    {% for channel in var('server_channels') %}coalesce(channel, '') = {{ text(channel) }} or {% endfor %}false as is_server,
    coalesce({{ json_text('properties', 'url') }}, {{ json_text('context', 'page.url') }}) as url,
    coalesce({{ json_text('properties', 'path') }}, {{ json_text('context', 'page.path') }}) as path,
    coalesce({{ json_text('properties', 'referrer') }}, {{ json_text('context', 'page.referrer') }}) as referrer,
    {{ json_text('context', 'campaign.source') }} as utm_source,
    {{ json_text('context', 'campaign.medium') }} as utm_medium,
    {{ json_text('context', 'campaign.name') }} as utm_campaign,
    {{ json_text('context', 'campaign.term') }} as utm_term,
    {{ json_text('context', 'campaign.content') }} as utm_content
from events
