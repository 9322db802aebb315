#include "spinor/family/left_to_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string_view>

#include "spinor/base/error.h"
#include "spinor/base/list.h"
#include "spinor/family/row_formulas.h"

namespace spinor {
namespace {

constexpr std::array<std::string_view, 9> kMayBeAny = {"embeddings.rows", "linears.out",       "linears.in",
                                                       "linears.count",   "outer_linears.out", "outer_linears.in",
                                                       "norms.size",      "outer_norms.size",  "parameters.shape"};
constexpr std::array<std::string_view, 3> kMayBePresent = {"linears.when", "norms.when", "parameters.when"};

class LeftToFiles {
 public:
  LeftToFiles(const Architecture& row, const std::string& subject) : row_(row), subject_(subject) {}

  void run() {
    each_formula(row_, [&](std::string_view key, const std::string& formula) {
      if (formula == kAny && !contains(kMayBeAny, key)) fail(fmt::format("{} cannot be `any`", key));
      if (formula == kPresent && !contains(kMayBePresent, key)) fail(fmt::format("{} cannot be `present`", key));
    });
    for (const std::vector<LinearRow>* linears : {&row_.linears, &row_.outer_linears})
      for (const LinearRow& linear : *linears) sides(linear);
    for (const std::vector<NormRow>* norms : {&row_.norms, &row_.outer_norms})
      for (const NormRow& norm : *norms)
        if (norm.size == kAny && !norm.reads.empty()) unsized(norm.name, "size");
    const bool sized = row_.embeddings.empty() || row_.embeddings.front().rows != kAny || !row_.head_rows.empty();
    if (!sized && !row_.head.empty())
      fail(row_.embeddings.front().name + ": its `rows` are `any`, and no `head_rows` says how many the head has");
    presence();
  }

 private:
  [[noreturn]] void fail(const std::string& problem, const std::string& hint = {}) const {
    throw Error(subject_, problem, hint);
  }
  [[noreturn]] void unsized(const std::string& name, const char* key) const {
    fail(fmt::format("{}: rotations depend on `{}`, so it cannot be `any`", name, key), "give its formula");
  }

  void sides(const LinearRow& linear) const {
    const std::string& name = linear.name;
    if (linear.layout == Layout::filter && (linear.out == kAny || linear.in == kAny)) unsized(name, "in");
    if (linear.in == kAny && (reads_stream(name) || is_output(name))) unsized(name, "in");
    if (linear.out == kAny && (contains(row_.writes, name) || contains(row_.feeds, name) || is_value(name)))
      unsized(name, "out");
  }

  bool reads_stream(const std::string& name) const {
    const auto reads = [&](const NormRow& norm) { return contains(norm.reads, name); };
    return contains(row_.raw_reads, name) || std::ranges::any_of(row_.norms, reads) ||
           std::ranges::any_of(row_.outer_norms, reads);
  }
  bool is_output(const std::string& name) const {
    return std::ranges::any_of(row_.attentions(), [&](const AttentionRow* one) { return one->output == name; });
  }
  bool is_value(const std::string& name) const {
    return std::ranges::any_of(row_.attentions(),
                               [&](const AttentionRow* one) { return contains(one->all_values(), name); }) ||
           std::ranges::any_of(row_.parts, [&](const PartRow& part) { return part.linear == name; });
  }

  void presence() {
    for (const LinearRow& one : row_.linears) count(one);
    for (const NormRow& one : row_.norms) {
      count(one);
      if (one.when == kPresent && !one.weightless.empty())
        fail(one.name + ": may have no tensors, so `present` says nothing", "give a formula for `when`");
    }
    for (const ParameterRow& one : row_.parameters) count(one);
    std::set<std::string> known;
    for (const std::vector<std::string>& kind : row_.layer_kinds) known.insert(kind.begin(), kind.end());
    for (const std::string& name : present_)
      if (!known.contains(name))
        fail(name + " has `when: present`, but no set of layer_kinds names it",
             "list in layer_kinds, for each kind of layer, which modules with `present` it has");
    for (const std::string& name : known)
      if (!present_.contains(name)) fail("layer_kinds names " + name + ", which has no `when: present`");
    for (const std::string& name : present_)
      if (rows_[name] > 1) fail(name + " has `when: present`, and another row has its name");
  }

  template <typename Row>
  void count(const Row& row) {
    ++rows_[row.name];
    if (row.when == kPresent) present_.insert(row.name);
  }

  const Architecture& row_;
  const std::string& subject_;
  std::map<std::string, int> rows_;
  std::set<std::string> present_;
};

}  // namespace

void check_left_to_files(const Architecture& row, const std::string& subject) {
  LeftToFiles(row, subject).run();
}

}  // namespace spinor
