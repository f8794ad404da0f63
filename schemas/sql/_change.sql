-- A value that a trait got, and how long it stood.
trait, -- the trait's name; of a computed trait or an audience in snake case
value, -- the value as JSON
JSON_VALUE(value) AS value_text, -- the value as text, NULL for an array or an object
valid_from, -- the timestamp of the call that set it
valid_to, -- when another value took its place, or it was cleared; NULL where it still stands
message_id, -- of the call that set it
