select
    account_id,
    name,
    domain,
    plan,
    industry,
    employees,
    account_source,
    first_named_at,
    last_named_at
from {{ source('segment', 'accounts_resolved') }}
