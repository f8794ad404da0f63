{{ config(
    partition_by=partitions('day', 'date', 'month'),
    cluster_by=['account_id', 'external_id']
) }}

with activity as (
    select
        activity.*,
        coalesce(identity.external_id, activity.sent_id) as external_id
    from {{ ref('int_activity') }} as activity
    left join {{ ref('stg_segment__identities') }} as identity on identity.id = activity.sent_id
)

select
    activity.day,
    activity.external_id,
    coalesce(named.company_id, own.account_id) as account_id,
    activity.connection,
    activity.type,
    activity.name,
    activity.is_server,
    sum(activity.events) as events,
    min(activity.first_at) as first_at,
    max(activity.last_at) as last_at
from activity
left join {{ ref('stg_segment__companies') }} as named on named.account_id = activity.group_id
left join {{ ref('stg_segment__people_accounts') }} as own on own.external_id = activity.external_id
group by 1, 2, 3, 4, 5, 6, 7
