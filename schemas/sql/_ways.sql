-- The connections, and whether each maps accounts by group calls: then every group call has named its account. Where
-- one has named no account, or an account that this connection alone named has another source, it does not.
SELECT
  used.connection,
  LOGICAL_AND(
    used.source IS NULL AND used.names_account OR used.source = 'group' OR used.source = 'email_domain'
  ) AS by_group
FROM (
  SELECT call.connection, NULL AS source, account.account_id IS NOT NULL AS names_account
  FROM identity_calls AS call
  LEFT JOIN accounts AS account
    ON account.account_id = call.group_id AND call.connection IN UNNEST(account.connections)
  WHERE call.type = 'group'
  UNION ALL
  SELECT connection, account.account_source AS source, TRUE AS names_account
  FROM accounts AS account
  CROSS JOIN UNNEST(account.connections) AS connection
  WHERE ARRAY_LENGTH(account.connections) = 1
) AS used
GROUP BY used.connection
