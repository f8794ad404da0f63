-- What each company did on each day on which it did something, by events_resolved.
SELECT
  account_id, -- the company
  DATE(timestamp, 'UTC') AS day, -- the day of the events' timestamps, in UTC
  COUNT(DISTINCT external_id) AS people, -- how many people had events
  COUNT(*) AS events, -- how many events there were
  COUNT(IF(type = 'Page', 1, NULL)) AS pages, -- how many of them were pages
  COUNT(IF(type = 'Screen', 1, NULL)) AS screens, -- how many were screens
  COUNT(IF(type = 'Action', 1, NULL)) AS actions -- how many were track calls
FROM events_resolved
WHERE account_id IS NOT NULL
GROUP BY account_id, DATE(timestamp, 'UTC')
