// A command run for another program: what it says as lines of JSON on stdout, as it happens.
#pragma once

namespace spinor::cli {

// Each line is a list: ["progress", what, done, all], ["warn", text], ["log", text], ["stream", text]; the last is
// ["done", json, text, problem] (Result) or ["usage" | "input" | "system", subject, problem, hint] (Failure). Text
// that is not UTF-8 has U+FFFD where it is not. Returns the exit code, 0 if there is a result.
int run_events(int argc, char** argv);

}  // namespace spinor::cli
