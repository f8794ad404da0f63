{{ config(severity='warn') }}
-- One domain or one name, several companies: an account was given several ids.
with named as (
    select 'domain' as what, domain as value, account_id
    from {{ ref('stg_segment__accounts') }}
    where domain is not null
    union all
    select 'name' as what, lower(trim(name)) as value, account_id
    from {{ ref('stg_segment__accounts') }}
)

select
    what,
    value,
    count(*) as accounts,
    min(account_id) as one,
    max(account_id) as another
from named
group by what, value
having count(*) > 1
