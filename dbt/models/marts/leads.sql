-- An account of one domain only: where several companies have it, which of them is meant is not told.
with domains as (
    select
        domain,
        count(*) as candidates,
        min(account_id) as account_id
    from {{ ref('stg_segment__accounts') }}
    where domain is not null
    group by domain
)

select
    contact.external_id,
    contact.email,
    contact.name,
    contact.title,
    contact.email_domain,
    case when domains.candidates = 1 then account.account_id end as account_id,
    case when domains.candidates = 1 then account.name end as account_name,
    case when domains.candidates = 1 then account.plan end as plan,
    coalesce(domains.candidates, 0) as candidates,
    contact.first_identified_at,
    touch.first_seen_at,
    touch.last_seen_at,
    touch.source as first_source,
    touch.medium as first_medium,
    touch.utm_campaign as first_campaign,
    touch.entry_path as first_path
from {{ ref('stg_segment__contacts') }} as contact
left join {{ ref('stg_segment__people_accounts') }} as own on own.external_id = contact.external_id
left join domains on domains.domain = contact.email_domain
left join {{ ref('stg_segment__accounts') }} as account on account.account_id = domains.account_id
left join {{ ref('first_touch') }} as touch on touch.external_id = contact.external_id
where contact.email_domain is not null and own.account_id is null
