#include "spinor/linalg/cpu.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "spinor/base/error.h"

namespace spinor::cpu_test {
namespace {

TEST(Cpu, TheFastestLevelOfTheMachineIsTheDefault) {
  ASSERT_FALSE(cpu_levels().empty());
  if (std::getenv("SPINOR_CPU") != nullptr) GTEST_SKIP() << "SPINOR_CPU forces one";
  EXPECT_EQ(cpu_level(), cpu_levels().back());
}

TEST(Cpu, EveryLevelCanBeForced) {
  const std::string before(cpu_level());
  for (const std::string_view level : cpu_levels()) {
    set_cpu_level(level);
    EXPECT_EQ(cpu_level(), level);
  }
  set_cpu_level(before);
}

TEST(Cpu, AnUnknownLevelIsRefusedByName) {
  const std::string before(cpu_level());
  try {
    set_cpu_level("mmx");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.problem(), "no CPU level 'mmx' on this machine");
    EXPECT_NE(error.hint().find(cpu_levels().front()), std::string::npos);
  }
  EXPECT_EQ(cpu_level(), before);
}

// The variable is read once a process, so each case needs a new one: a threadsafe death test is one.
class CpuVariable : public testing::Test {
 protected:
  void SetUp() override { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
  void TearDown() override { unsetenv("SPINOR_CPU"); }

  [[noreturn]] static void print_level() {
    try {
      std::fprintf(stderr, "level %s\n", std::string(cpu_level()).c_str());
      std::exit(0);
    } catch (const Error& error) {
      std::fprintf(stderr, "%s\n", error.what());
      std::exit(1);
    }
  }
};

TEST_F(CpuVariable, ForcesALevel) {
  for (const std::string_view level : cpu_levels()) {
    setenv("SPINOR_CPU", std::string(level).c_str(), 1);
    EXPECT_EXIT(print_level(), testing::ExitedWithCode(0), "level " + std::string(level));
  }
}

TEST_F(CpuVariable, WithALevelThatTheMachineLacksIsAnError) {
  setenv("SPINOR_CPU", "mmx", 1);
  EXPECT_EXIT(print_level(), testing::ExitedWithCode(1), "SPINOR_CPU: no CPU level 'mmx' on this machine; use one of ");
}

}  // namespace
}  // namespace spinor::cpu_test
