#include "spinor/family/row_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <thread>

#include "spinor/base/error.h"
#include "spinor/base/testing.h"
#include "spinor/family/architecture_file.h"

namespace spinor::row_files_test {
namespace {

std::string text_of(const std::string& name) {
  std::ifstream file(std::filesystem::path(SPINOR_SOURCE_DIR) / name);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::set<std::string> names_in(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(SPINOR_SOURCE_DIR) / folder))
    names.insert(folder + "/" + entry.path().filename().string());
  return names;
}

TEST(RowFiles, AreThoseOfTheFolderAsTheyAre) {
  std::set<std::string> names;
  std::string before;
  for (const RowFile& file : row_files()) {
    const std::string name(file.name);
    EXPECT_LT(before, name);
    EXPECT_EQ(file.text, text_of(name));
    EXPECT_TRUE(std::ranges::none_of(name, [](unsigned char c) { return std::isupper(c) != 0; })) << name;
    names.insert(before = name);
  }
  EXPECT_EQ(names, names_in("rows"));
}

TEST(RowFiles, NoNameIsThereTwiceAndEachFindsItsRow) {
  std::set<std::string> names;
  size_t rows = 0;
  for (const RowFile& file : row_files()) {
    if (holds_refusals(file)) continue;
    const Architecture row = read_architecture(parse_yaml(file.text, file.name));
    const auto found = names_of_row(file);
    EXPECT_EQ(row.names, std::vector<std::string>(found.begin(), found.end())) << file.name;
    for (const std::string& name : row.names) {
      EXPECT_TRUE(names.insert(name).second) << name;
      ASSERT_NE(find_architecture(name), nullptr) << name;
      EXPECT_EQ(*find_architecture(name), row) << name;
    }
    EXPECT_EQ(architectures()[rows++], row) << file.name;
  }
  EXPECT_EQ(architectures().size(), rows);
  for (const RefusedArchitecture& row : refused_architectures())
    for (const std::string& name : row.names) EXPECT_TRUE(names.insert(name).second) << name;
}

TEST(RowFiles, AreFoundFromManyThreads) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([] {
      for (const RowFile& file : row_files())
        if (!holds_refusals(file)) {
          const Architecture* row = find_architecture(names_of_row(file).front());
          EXPECT_FALSE(row->linears.empty()) << file.name;
        }
    });
}

TEST(RowFiles, NamesComeFirst) {
  const auto names = [](std::string_view text) { return names_of_row({"rows/a.yaml", text}); };
  EXPECT_EQ(names("# of a\n#\nnames: [A, B]\nclasses: A"), (std::vector<std::string_view>{"A", "B"}));
  for (const char* text : {"", "# a", "classes: A\nnames: [A]", "names:\n- A", "names: [A,\n  B]"})
    EXPECT_EQ(testing::message_of([&] { names(text); }), "rows/a.yaml: does not begin with a line `names: [...]`")
        << text;
}

}  // namespace
}  // namespace spinor::row_files_test
