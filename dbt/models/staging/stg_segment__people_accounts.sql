-- By the rule of events_resolved: the contact's account, else that of the newest membership, explicit ones first.
with memberships as (
    select
        external_id,
        account_id
    from {{ source('segment', 'memberships') }}
    qualify
        row_number() over (
            partition by external_id
            order by case when account_source = 'email_domain' then 1 else 0 end, last_named_at desc, account_id desc
        ) = 1
),

people as (
    select
        coalesce(contact.external_id, membership.external_id) as external_id,
        coalesce(contact.account_id, membership.account_id) as account_id
    from {{ source('segment', 'contacts') }} as contact
    full outer join memberships as membership on membership.external_id = contact.external_id
)

select
    people.external_id,
    coalesce(company.company_id, people.account_id) as account_id
from people
left join {{ ref('stg_segment__companies') }} as company on company.account_id = people.account_id
where people.account_id is not null
