{{ config(severity='warn') }}
-- One e-mail address, several contacts: the same person with ids that nothing links, or an address that many use.
select
    lower(trim(email)) as email,
    count(*) as contacts,
    min(external_id) as one,
    max(external_id) as another
from {{ ref('stg_segment__contacts') }}
where email is not null
group by lower(trim(email))
having count(*) > 1
