#include "spinor/io/journal.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "spinor/io/testing.h"

namespace spinor::journal_test {
namespace {

using testing::message_of;

class JournalTest : public ::testing::Test {
 protected:
  JournalTest() {
    Journal journal(path_, job_);
    journal.add({"a", "1234", {{"max", 1.5}}});
    journal.add({"b", "5678", nullptr});
  }
  testing::TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_ / "journal.jsonl";
  Json job_ = {{"seed", 1}, {"rotations", {"R1", "R2"}}};
};

TEST_F(JournalTest, WhatIsNotedIsReadBack) {
  const JournalLines lines = read_journal(path_);
  EXPECT_EQ(lines.job, job_);
  EXPECT_EQ(lines.process, ::getpid());
  EXPECT_EQ(lines.bytes, std::ssize(read_text(path_)));
  ASSERT_EQ(lines.finished.size(), 2u);
  EXPECT_EQ(lines.finished[0].tensor, "a");
  EXPECT_EQ(lines.finished[0].digest, "1234");
  EXPECT_EQ(lines.finished[0].entry["max"], 1.5);
  EXPECT_TRUE(lines.finished[1].entry.is_null());
}

TEST_F(JournalTest, EveryTornEndIsIgnoredAndWrittenOver) {
  const std::string whole = read_text(path_);
  const size_t job_end = whole.find('\n') + 1, a = whole.find("{\"tensor\":\"a\""), b = whole.find("{\"tensor\":\"b\"");
  for (size_t bytes = job_end; bytes <= whole.size(); ++bytes) {
    write_text(path_, whole.substr(0, bytes));
    const JournalLines torn = read_journal(path_);
    EXPECT_EQ(torn.finished.size(), (bytes >= b) + (bytes == whole.size()) + 0u) << bytes;
    EXPECT_GE(torn.bytes, static_cast<int64_t>(bytes < a ? job_end : a));
    Journal(path_, torn).add({"c", "9", nullptr});
    EXPECT_EQ(read_journal(path_).finished.size(), torn.finished.size() + 1) << bytes;
  }
}

TEST_F(JournalTest, WhatFollowsADamagedLineDoesNotCount) {
  const std::string whole = read_text(path_);
  for (const std::string& damage : {std::string(40, '\0'), std::string("{}"), std::string("[1]"), std::string("")}) {
    write_text(path_, whole + damage + "\n" + R"({"tensor":"c","digest":"1","entry":null})" + "\n");
    EXPECT_EQ(read_journal(path_).bytes, std::ssize(whole));
  }
}

TEST_F(JournalTest, AJournalWithoutAJobIsRefused) {
  for (const std::string text :
       {"", "{\"job\":{}", "{\"tensor\":\"c\",\"digest\":\"1\",\"entry\":null}\n", "{\"job\":1}\n"}) {
    write_text(path_, text);
    EXPECT_EQ(message_of([&] { read_journal(path_); }, directory_.path()),
              "journal.jsonl: does not begin with a job; delete the directory it is in, or pass --discard-partial to "
              "start again");
  }
}

TEST(Differences, NameTheKeysAndBothValues) {
  const Json before = {{"a", 1}, {"options", {{"seed", 1}, {"rotations", {"R1"}}}}, {"gone", true}};
  const Json now = {{"options", {{"rotations", {"R1", "R2"}}, {"seed", 1}}}, {"a", "x"}, {"new", nullptr}};
  EXPECT_EQ(differences(before, now),
            (std::vector<std::string>{"a was 1, is \"x\"", R"(options.rotations was ["R1"], is ["R1","R2"])",
                                      "gone was true, is absent", "new was absent, is null"}));
  EXPECT_TRUE(differences(before, before).empty());
}

TEST(Differences, OrderDoesNotMatterAndLongValuesAreCut) {
  EXPECT_TRUE(differences({{"a", 1}, {"b", 2}}, {{"b", 2}, {"a", 1}}).empty());
  EXPECT_EQ(differences({{"a", std::string(100, 'x')}}, {{"a", 1}}).at(0),
            "a was \"" + std::string(59, 'x') + "..., is 1");
}

}  // namespace
}  // namespace spinor::journal_test
