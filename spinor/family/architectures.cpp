// The table of architectures: the rows that are compiled in (row_files.h), and those that programs register.
#include <algorithm>
#include <deque>
#include <map>
#include <mutex>

#include "spinor/base/error.h"
#include "spinor/base/list.h"
#include "spinor/family/architecture.h"
#include "spinor/family/architecture_file.h"
#include "spinor/family/row_files.h"

namespace spinor {
namespace {

Document parse_file(const RowFile& file) {
  return parse_yaml(file.text, file.name);
}

// A row is read when it is asked for: there are hundreds, and a program needs one. From any thread.
class ShippedRows {
 public:
  ShippedRows() {
    for (const RowFile& file : row_files()) {
      if (holds_refusals(file)) continue;
      for (const std::string_view name : names_of_row(file)) index_.emplace(name, files_.size());
      files_.push_back(&file);
    }
    rows_.resize(files_.size());
    is_read_.resize(files_.size());
  }

  const Architecture* find(std::string_view name) {
    const auto found = index_.find(name);
    return found == index_.end() ? nullptr : &read(found->second);
  }
  std::span<const Architecture> all() {
    for (size_t i = 0; i < files_.size(); ++i) read(i);
    return rows_;
  }

 private:
  const Architecture& read(size_t i) {
    const std::lock_guard lock(mutex_);
    if (!is_read_[i]) rows_[i] = read_architecture(parse_file(*files_[i]));
    is_read_[i] = true;
    return rows_[i];
  }

  std::vector<const RowFile*> files_;
  std::map<std::string_view, size_t> index_;
  std::mutex mutex_;
  std::vector<Architecture> rows_;
  std::vector<bool> is_read_;
};
ShippedRows& shipped() {
  static ShippedRows rows;
  return rows;
}

std::vector<RefusedArchitecture> read_refused() {
  std::vector<RefusedArchitecture> all;
  for (const RowFile& file : row_files()) {
    if (!holds_refusals(file)) continue;
    const Document document = parse_file(file);
    append(all, read_fields<std::vector<RefusedArchitecture>>(document.value,
                                                              {"refused", document.subject, &document.lines}));
  }
  return all;
}

struct Registered {
  std::mutex mutex;
  std::deque<Architecture> rows;  // models keep pointers to them
};
Registered& registered() {
  static Registered all;
  return all;
}

template <typename Rows>
auto find_row(const Rows& rows, std::string_view name) -> decltype(&*rows.begin()) {
  for (const auto& row : rows)
    if (std::find(row.names.begin(), row.names.end(), name) != row.names.end()) return &row;
  return nullptr;
}

}  // namespace

std::vector<std::string> AttentionRow::all_values() const {
  std::vector<std::string> names = {value};
  append(names, more_values);
  return names;
}

std::vector<const AttentionRow*> Architecture::attentions() const {
  std::vector<const AttentionRow*> all = {&attention};
  for (const AttentionRow& other : other_attentions) all.push_back(&other);
  return all;
}

std::span<const Architecture> architectures() {
  return shipped().all();
}

std::span<const RefusedArchitecture> refused_architectures() {
  static const std::vector<RefusedArchitecture> rows = read_refused();
  return rows;
}

const Architecture* find_architecture(std::string_view name) {
  if (const Architecture* row = shipped().find(name)) return row;
  Registered& more = registered();
  const std::lock_guard lock(more.mutex);
  return find_row(more.rows, name);
}

void register_architecture(Architecture row, const std::string& subject) {
  if (row.names.empty()) throw Error(subject, "has no names");
  for (const std::string& name : row.names)
    if (find_architecture(name)) throw Error(subject, name + " is known already", "give config.json another name");
  Registered& more = registered();
  const std::lock_guard lock(more.mutex);
  more.rows.push_back(std::move(row));
}

const RefusedArchitecture* find_refused_architecture(std::string_view name) {
  return find_row(refused_architectures(), name);
}

}  // namespace spinor
