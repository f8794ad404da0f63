{{ config(cluster_by=['external_id']) }}

with visits as (
    select
        visit.*,
        coalesce(identity.external_id, visit.sent_id) as external_id
    from {{ ref('int_visits') }} as visit
    left join {{ ref('stg_segment__identities') }} as identity on identity.id = visit.sent_id
),

seen as (
    select
        external_id,
        min(started_at) as first_seen_at,
        max(ended_at) as last_seen_at
    from visits
    group by external_id
),

touches as (
    select *
    from visits
    where entry_at is not null
    qualify row_number() over (partition by external_id order by entry_at, entry_message_id, received_day) = 1
)

select
    seen.external_id,
    contact.external_id is not null as is_contact,
    contact.email,
    own.account_id,
    seen.first_seen_at,
    {{ utc_date('seen.first_seen_at') }} as first_day,
    seen.last_seen_at,
    contact.first_identified_at,
    touch.entry_at as touched_at,
    touch.entry_message_id as message_id,
    touch.sent_id,
    touch.entry_connection as connection,
    touch.entry_name,
    touch.entry_url,
    touch.entry_path,
    touch.entry_referrer as referrer,
    {{ source_of('touch.entry_referrer', 'touch.entry_url', 'touch.utm_source') }} as source,
    {{ medium_of('touch.entry_referrer', 'touch.entry_url', 'touch.utm_source', 'touch.utm_medium') }} as medium,
    touch.utm_source,
    touch.utm_medium,
    touch.utm_campaign,
    touch.utm_term,
    touch.utm_content,
    coalesce(touch.entry_at < contact.first_identified_at, false) as is_before_identify
from seen
left join touches as touch on touch.external_id = seen.external_id
left join {{ ref('stg_segment__contacts') }} as contact on contact.external_id = seen.external_id
left join {{ ref('stg_segment__people_accounts') }} as own on own.external_id = seen.external_id
