#pragma once
// Messages as rows: everything but the body as one JSON text, the body as it is.

#include "wire/sqlite/store.hpp"

#include <errand/broker.hpp>

namespace errand::sqlite {

/// {"headers": ..., "properties": ..., "content_type": ..., "content_encoding": ..., "exchange": ..., "routing_key":
/// ...}
std::string encode_meta(const Message& message, const Route& route);
/// Fills message and route; throws Error{invalid} when the text is damaged.
void decode_meta(std::string_view meta, Message& message, Route& route);

/// Id of a queue by name; made when it is missing. Inside a transaction.
std::int64_t queue_id(Database& database, std::string_view name);
std::optional<std::int64_t> find_queue(Database& database, std::string_view name);

/// Throws Error{invalid} for a name that no queue may have.
void check_queue_name(std::string_view name);
/// Makes the queue and its binding. Inside a transaction. Throws Error{conflict} when the exchange has another type.
void declare_queue(Database& database, const QueueSpec& queue);
/// Ids of the queues a message goes to; a named one is made when it is missing. Inside a transaction. Throws
/// Error{not_found} when no queue is bound.
std::vector<std::int64_t> queues_of(Database& database, const Route& route);

/// Numbers that stand in receipts and dead letters as text; -1, which names nothing, for anything else.
std::int64_t number_of(std::string_view id) noexcept;

/// 0 is served first: the urgency that a priority has. 9 is the most urgent priority, as on RabbitMQ.
std::int64_t urgency_of(int priority) noexcept;

/// Inserts messages, parked or ready. Inside a transaction, which must not be committed when it throws: Error{invalid}
/// for a bad queue name or a message over `limit` bytes, Error{not_found} when no queue is bound.
void insert_messages(Database& database, std::span<const Envelope> envelopes, std::size_t limit);
/// Throws Error{invalid} for a message over the limit.
void check_size(const Envelope& envelope, std::size_t meta_bytes, std::size_t limit);

}  // namespace errand::sqlite
