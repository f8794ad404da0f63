select
    id,
    external_id
from {{ source('segment', 'identities') }}
