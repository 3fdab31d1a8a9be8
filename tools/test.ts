// Runs tap, passes its output and its exit code through, and closes with what failed, each with its reason, and one plain
// line: "N passed, N failed, N skipped".
import { spawn } from 'node:child_process'
import { realpathSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

// How much of a failure is told again at the end; what was printed in its place has all of it.
const LINES_A_FAILURE = 30

const tap = realpathSync(fileURLToPath(new URL('../node_modules/.bin/tap', import.meta.url)))
const child = spawn(process.execPath, [tap, '-R', 'tap', ...process.argv.slice(2)], {
  stdio: ['inherit', 'pipe', 'inherit']
})

let totals = ''
const failures: string[][] = []
let failure: string[] | undefined
for await (const line of createInterface({ input: child.stdout })) {
  console.log(line)
  if (line.startsWith('# { total:')) totals = line
  const said = line.trimStart()
  if (said.startsWith('not ok ') && !/# (?:TODO|SKIP)/i.test(said)) {
    failure = [line]
    failures.push(failure)
  } else if (/^(?:ok|# Subtest)/.test(said)) failure = undefined
  else if (failure !== undefined && failure.length < LINES_A_FAILURE) failure.push(line)
}
const code =
  child.exitCode ?? (await new Promise<number>((resolve) => child.once('exit', (exit) => resolve(exit ?? 1))))
const count = (key: string): number => Number(new RegExp(`\\b${key}: (\\d+)`).exec(totals)?.[1] ?? 0)
for (const lines of failures) console.log(lines.join('\n'))
console.log(`${count('pass')} passed, ${count('fail')} failed, ${count('skip') + count('todo')} skipped`)
process.exitCode = code !== 0 ? code : count('total') === 0 ? 1 : 0
