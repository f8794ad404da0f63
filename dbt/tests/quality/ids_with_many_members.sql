{{ config(severity='warn') }}
-- A contact of very many ids: a shared device, or an id that is a constant of some sender.
select
    external_id,
    count(*) as ids
from {{ ref('stg_segment__identities') }}
group by external_id
having count(*) > {{ var('many_ids') }}
