// Records and table columns: the field list of a record is the column list of its table. Inner
// header of this room.
#pragma once

#include "storage/connection.hpp"

#include <vector>

namespace skep::storage {

/// "\"swarm\", \"name\", ..." in field order.
template <message R>
const std::string& columns_of() {
  static const std::string text = [] {
    std::string out;
    R x;
    for_each_field(x, [&](const auto& f) {
      if (!out.empty()) out += ", ";
      out += '"';
      out += f.name;
      out += '"';
    });
    return out;
  }();
  return text;
}

/// Fills `x` from the present row; its first column is `first`.
template <message R>
void read_row(const query& q, R& x, int first = 0) {
  int i = first;
  for_each_field(x, [&](auto&& f) { q.read(i++, f.value); });
}

/// All rows of "SELECT columns FROM table <rest>".
template <message R, class... Ts>
result<std::vector<R>> read_rows(connection& db, std::string_view table, std::string_view rest,
                                 const Ts&... xs) {
  auto sql = "SELECT " + columns_of<R>() + " FROM " + std::string{table} + " " + std::string{rest};
  auto q = db.prepare(sql);
  if (!q) return q.err();
  q->bind(xs...);
  std::vector<R> out;
  for (;;) {
    auto row = q->step();
    if (!row) return row.err();
    if (!*row) return out;
    read_row(*q, out.emplace_back());
  }
}

} // namespace skep::storage
