select
    external_id,
    email,
    name,
    title,
    account_id,
    account_name,
    account_source,
    created_at,
    first_identified_at,
    last_identified_at,
    {{ extracted('lower(trim(email))', '@([^@]+)$') }} as email_domain
from {{ source('segment', 'contacts_resolved') }}
