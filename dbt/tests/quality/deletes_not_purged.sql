{{ config(severity='warn') }}
-- People who asked to be forgotten, and whose events of before are still here after `purge_days`: in the warehouse, until
-- `python -m pipeline.purge`, or, after that, in these models, until a full refresh.
with deletes as (
    select
        coalesce(identity.external_id, call.user_id, call.anonymous_id) as external_id,
        max(call.timestamp) as deleted_at
    from {{ source('segment', 'identity_calls') }} as call
    left join {{ ref('stg_segment__identities') }} as identity on identity.id = coalesce(call.user_id, call.anonymous_id)
    where call.type = 'delete' and call.received_at >= timestamp '1960-01-01 00:00:00+00'
    group by 1
),

activity as (
    select
        coalesce(identity.external_id, activity.sent_id) as external_id,
        min(activity.first_at) as first_at
    from {{ ref('int_activity') }} as activity
    left join {{ ref('stg_segment__identities') }} as identity on identity.id = activity.sent_id
    group by 1
)

select
    deletes.external_id,
    deletes.deleted_at,
    activity.first_at
from deletes
inner join activity on activity.external_id = deletes.external_id and activity.first_at <= deletes.deleted_at
where {{ utc_date('deletes.deleted_at') }} <= {{ plus_days(as_of(), -1 * var('purge_days') | int) }}
