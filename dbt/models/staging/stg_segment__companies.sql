select
    member_id as account_id,
    account.account_id as company_id
from {{ source('segment', 'accounts_resolved') }} as account
{{ each_of('account.account_ids', 'member_id') }}
