-- What each company did on each day on which it did something, by events_resolved.
SELECT
  account_id, -- the company
  DATE(timestamp, 'UTC') AS day, -- the day of the events' timestamps, in UTC
  COUNT(DISTINCT external_id) AS people, -- how many people had events
  COUNT(*) AS events, -- how many events there were
  COUNTIF(type = 'Page') AS pages, -- how many of them were pages
  COUNTIF(type = 'Screen') AS screens, -- how many were screens
  COUNTIF(type = 'Action') AS actions -- how many were track calls
FROM events_resolved
WHERE account_id IS NOT NULL
GROUP BY account_id, DATE(timestamp, 'UTC')
