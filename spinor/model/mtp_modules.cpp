#include "spinor/model/mtp_modules.h"

#include "spinor/model/module_name.h"
#include "spinor/model/mtp.h"

namespace spinor {
namespace {

// What is beside a head's layers.
void add_mtp_ends(const Architecture& row, const std::string& root, int index, ModuleList& list) {
  const MtpRow& mtp = *row.mtp;
  const std::string& rows = row.embeddings.front().rows;
  const std::string& head_rows = row.head_rows.empty() ? rows : row.head_rows;
  const std::string size = "hidden_size";
  if (!mtp.embedding.empty() && list.is_there(root + mtp.embedding))
    list.embedding(root + mtp.embedding, {mtp.embedding, rows}, Role::mtp, index);
  for (const std::string& name : {mtp.embedding_norm, mtp.hidden_norm, mtp.output_norm})
    list.norm(root + name, {.name = name, .offset = row.outer_norms.back().offset}, index);
  list.linear(root + mtp.concat, {mtp.concat, size, "2 * " + size}, index, Role::mtp);
  if (!mtp.head.empty() && list.is_there(root + mtp.head))
    list.linear(root + mtp.head, {mtp.head, head_rows, size}, index, Role::mtp);
}

void add_mtp_layer(const Architecture& row, const std::string& prefix, int index, ModuleList& list) {
  const auto each = [&](const std::string& name, int64_t count, const auto& add) {
    for (const std::string& full : counted(prefix + name, count))
      if (list.is_there(full)) add(full);
  };
  for (const LinearRow& one : row.linears)
    for (const std::string& name : list.names(one, prefix))
      if (list.is_there(name)) list.linear(name, one, index, Role::mtp);
  for (const ParameterRow& one : row.parameters)
    each(one.name, list.count(one), [&](const std::string& name) { list.parameter(name, one, index); });
  for (const NormRow& one : row.norms)
    each(one.name, list.experts(), [&](const std::string& name) { list.norm(name, one, index); });
}

}  // namespace

void add_mtp_modules(const Architecture& row, const ModelConfig& config, const std::string& model_root,
                     ModuleList& list) {
  const size_t first = list.modules().size();
  std::string root;
  const auto has = [&](const std::string& module) { return list.is_there(module); };
  for (const MtpPlace& place : mtp_places(row, config, model_root, has)) {
    const auto index = static_cast<int>(place.number);
    if (place.root != root) add_mtp_ends(row, place.root, index, list);
    root = place.root;
    add_mtp_layer(row, place.layer, index, list);
  }
  for (size_t i = first; i < list.modules().size(); ++i) {
    list.modules()[i].role = Role::mtp;
    list.modules()[i].classes = {"Module"};
  }
}

}  // namespace spinor
