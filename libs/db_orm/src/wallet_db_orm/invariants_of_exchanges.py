"""This module is where it is asked whether money changed its currency on the terms of its quote."""

from typing import Final

from wallet_db_orm.reading import Invariant, Reading, decimals

# Exact: everything is a whole number of the smallest unit that rate and currencies have.
EXCHANGES: Final = Reading(
    (
        Invariant("F1", "each quote is used once at most, on its terms, in its time", "fx_quotes"),
        Invariant(
            "F2",
            "each quote gives what its rate does, rounded half to even; the residue is the rest",
            "fx_quotes",
        ),
    ),
    f"""
    SELECT t.from_wallet_id AS "walletId",
        json_build_object('quoteId', coalesce(q.id, t.quote_id), 'transferId', t.id) AS "F1",
        NULL AS "F2"
    FROM (SELECT * FROM fx_quotes WHERE transfer_id IS NOT NULL) AS q
    FULL JOIN (SELECT * FROM transfers WHERE quote_id IS NOT NULL) AS t ON t.quote_id = q.id
    WHERE q.id IS NULL OR t.id IS NULL OR q.transfer_id <> t.id
        OR (q.from_currency, q.to_currency) <> (t.currency, t.to_currency)
        OR (q.from_minor, q.to_minor) <> (t.amount_minor, t.to_amount_minor)
        OR (q.rate, q.residue) <> (t.rate, t.residue)
        OR t.initiated_at < q.quoted_at OR t.initiated_at >= q.expires_at
    UNION ALL
    SELECT NULL, NULL, json_build_object('quoteId', id)
    FROM (
        SELECT *, residue::numeric * 10::numeric ^ to_decimals AS left_minor FROM (
            SELECT *, {decimals("from_currency")} AS from_decimals,
                {decimals("to_currency")} AS to_decimals
            FROM fx_quotes
        ) AS q
    ) AS q
    WHERE (to_minor + left_minor) * 10::numeric ^ from_decimals
            <> from_minor * rate::numeric * 10::numeric ^ to_decimals
        OR 2 * abs(left_minor) > 1
        OR (2 * abs(left_minor) = 1 AND to_minor % 2 = 1)
    """,  # noqa: S608  # constants
)
