#include "spinor/family/architecture_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "spinor/base/error.h"
#include "spinor/base/fields.h"
#include "spinor/family/formula.h"
#include "spinor/family/forward_names.h"
#include "spinor/family/left_to_files.h"
#include "spinor/family/row_formulas.h"

namespace spinor {
namespace {

using Names = std::set<std::string>;

template <typename Row>
void add(Names& names, const std::vector<Row>& rows) {
  for (const Row& row : rows) names.insert(row.name);
}

class Check {
 public:
  Check(const Architecture& row, const std::string& subject) : row_(row), subject_(subject) {
    add(linears_, row.linears);
    add(outer_linears_, row.outer_linears);
    add(norms_, row.norms);
    add(embeddings_, row.embeddings);
    for (const PartRow& part : row.parts) parts_.insert(part.linear + "." + part.name);
    for (const NormRow& norm : row.norms) read_.insert(norm.reads.begin(), norm.reads.end());
    for (const NormRow& norm : row.outer_norms) read_.insert(norm.reads.begin(), norm.reads.end());
    read_.insert(row.raw_reads.begin(), row.raw_reads.end());
  }

  void run() const {
    named("writes", row_.writes, linears_, outer_linears_);
    if (!row_.layers.empty()) blocks();
    named("raw_reads", row_.raw_reads, linears_, outer_linears_, {row_.head});
    named("scaled_outputs", row_.scaled_outputs, norms_);
    named("feeds", row_.feeds, outer_linears_, embeddings_);
    for (const NormRow& norm : row_.norms) named("norms", norm.reads, linears_);
    for (const NormRow& norm : row_.outer_norms) named("outer_norms", norm.reads, outer_linears_, {row_.head});
    for (const PartRow& part : row_.parts) named("parts", {part.linear}, linears_);
    for (const LinearRow& linear : row_.linears) connected(linear);
    for (const std::vector<LinearRow>* linears : {&row_.linears, &row_.outer_linears})
      for (const LinearRow& linear : *linears) {
        counted(linear);
        split(linear);
      }
    for (const ParameterRow& parameter : row_.parameters) written(parameter);
    check_left_to_files(row_, subject_);
    each_formula(row_, [&](std::string_view key, const std::string& formula) { this->formula(key, formula); });
    for (const Architecture& tower : row_.towers) {
      if (tower.forward) throw Error(subject_, "a tower has `forward`, but spinor does not run towers");
      Check(tower, subject_).run();
    }
  }

 private:
  // Of a layer.
  void blocks() const {
    named("mlp_in", row_.mlp_in, linears_);
    named("mlp_out", row_.mlp_out, linears_);
    for (const AttentionRow* a : row_.attentions()) {
      const std::string key = a == &row_.attention ? "attention" : "other_attentions";
      for (const std::string& linear : {a->query, a->key, a->output})
        if (!linear.empty()) named(key, {linear}, linears_);
      if (!a->value.empty()) named(key + ".value", {a->value}, linears_, parts_);
      named(key + ".more_values", a->more_values, linears_, parts_);
      for (const std::string& norm : {a->query_norm, a->key_norm, a->value_norm})
        if (!norm.empty()) named(key, {norm}, norms_);
    }
  }

  void named(const std::string& key, const std::vector<std::string>& names, const Names& known, const Names& more = {},
             const Names& last = {}) const {
    for (const std::string& name : names)
      if (!known.contains(name) && !more.contains(name) && !last.contains(name))
        throw Error(subject_, fmt::format("{} names {}, which the row does not have", key, name));
  }

  void connected(const LinearRow& linear) const {
    const auto writes = [&] { return std::ranges::find(row_.writes, linear.name) != row_.writes.end(); };
    const bool reads = read_.contains(linear.name);
    if (linear.in == "hidden_size" && !reads && !writes())
      throw Error(subject_, linear.name + " reads vectors of hidden_size, but `reads` of no norm names it",
                  "name it there, or in raw_reads if it reads the residual stream as it is");
    if (linear.out == "hidden_size" && !reads && !writes())
      throw Error(subject_, linear.name + " writes vectors of hidden_size, but `writes` does not name it");
  }

  void counted(const LinearRow& linear) const {
    if (!linear.count.empty() && !is_stacked(linear) && linear.name.find("{E}") == std::string::npos)
      throw Error(subject_, linear.name + " has a count, but is not stacked, nor has its name {E}");
  }

  void split(const LinearRow& linear) const {
    if (!linear.split.empty() && !is_stacked(linear))
      throw Error(subject_, linear.name + " has `split`, but is not stacked");
    for (const std::string& name : linear.split)
      if (name.find("{E}") == std::string::npos)
        throw Error(subject_,
                    fmt::format("{}: split names {} without {{E}}, the number of the expert", linear.name, name));
  }

  void written(const ParameterRow& parameter) const {
    if (parameter.writes.empty()) return;
    if (parameter.shape.empty() || parameter.shape.back() != "hidden_size")
      throw Error(subject_,
                  parameter.name + " writes to the residual stream, but its shape does not end in hidden_size");
    if (row_.mtp)
      throw Error(subject_, parameter.name + " writes to the residual stream, and the row has mtp",
                  "spinor does not look for such parameters in layers for multi-token prediction");
  }

  void formula(std::string_view key, const std::string& formula) const {
    try {
      check_formula(formula);
    } catch (const Error& error) {
      throw Error(subject_, fmt::format("{}: {}", key, error.what()));
    }
  }

  const Architecture& row_;
  const std::string& subject_;
  Names linears_, outer_linears_, norms_, embeddings_, parts_, read_;
};

}  // namespace

Architecture read_architecture(const Document& document) {
  Architecture row = read_fields<Architecture>(document.value, {"architecture", document.subject, &document.lines});
  if (row.names.empty())
    throw Error(document.subject, "has no names", "names: [...] are those of config.json's architectures");
  check_architecture(row, document.subject);
  return row;
}

void check_architecture(const Architecture& row, const std::string& subject) {
  Check(row, subject).run();
  check_forward(row, subject);
}

}  // namespace spinor
