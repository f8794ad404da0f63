{{ config(severity='warn') }}
-- Copies of an event that came after the memory of its first: `python -m schemas compact` removes them.
select
    message_id,
    count(*) as copies
from {{ ref('stg_segment__events') }}
group by message_id
having count(*) > 1
