-- of the GoogleSQL whose SHA-256 is 003bbbdb835e7e258f9959422d00c352beb0c042bbab55510d85a88e50ad02fd
SELECT
  contact.*
  REPLACE (company.company_id AS account_id),
  account.name AS account_name
FROM contacts AS contact
LEFT JOIN (
  SELECT
    account.account_id,
    COALESCE(owner.account_id, account.account_id) AS company_id
  FROM accounts AS account
  LEFT JOIN (
    SELECT
      domain,
      MIN(account_id) AS account_id
    FROM accounts
    WHERE
      account_source <> 'email_domain' AND NOT domain IS NULL
    GROUP BY
      domain
    HAVING
      COUNT(*) = 1
  ) AS owner
    ON account.account_source = 'email_domain' AND owner.domain = account.account_id
) AS company
  ON company.account_id = contact.account_id
LEFT JOIN accounts AS account
  ON account.account_id = company.company_id
