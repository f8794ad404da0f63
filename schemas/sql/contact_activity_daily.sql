-- What each person did on each day on which it had events, by the events' timestamps, and in which week the day is.
SELECT
  external_id, -- the label of the contact that the events belong to now
  day, -- the day, in UTC
  CAST(DATE_TRUNC(day, ISOWEEK) AS DATE) AS week, -- the Monday of its week
  COUNT(*) AS events, -- how many events it has
  COUNT(IF(type = 'Page', 1, NULL)) AS pages, -- how many of them were pages
  COUNT(IF(type = 'Screen', 1, NULL)) AS screens, -- how many were screens
  COUNT(IF(type = 'Action', 1, NULL)) AS actions, -- how many were track calls
  COUNT(IF(channel = 'server', 1, NULL)) AS server_events -- how many a server sent: they may tell what was done to the person
FROM (
  SELECT
    COALESCE(identity.external_id, event.user_id, event.anonymous_id) AS external_id,
    DATE(event.timestamp, 'UTC') AS day,
    event.type,
    event.channel
  FROM events AS event
  LEFT JOIN identities AS identity ON identity.id = COALESCE(event.user_id, event.anonymous_id)
)
GROUP BY external_id, day
