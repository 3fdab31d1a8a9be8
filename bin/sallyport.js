#!/usr/bin/env -S node --max-semi-space-size=4 --no-allocation-site-pretenuring --v8-pool-size=0
// Flags (docs/decisions 0051 and 0052). --max-semi-space-size: garbage of requests is young; a young generation of 64 MB,
// Node's default, pauses for 50 ms on reloads. --v8-pool-size: four V8 threads on one core stop the main thread for up to
// 28 ms. --no-allocation-site-pretenuring: V8 allocated parts of requests as old objects, with pauses of 40 ms.
// This file is plain JavaScript, so that it runs on a Node.js that is too old for the rest and can report that.
import { existsSync, readFileSync } from 'node:fs'
import module from 'node:module'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 24 || (major === 24 && minor < 13)) {
  process.stderr.write(`Sallyport needs Node.js 24.13 or newer; this is ${process.versions.node}\n`)
  process.exit(78)
}

// Prefers the source, so that a clone never runs a stale build.
const fromSource = existsSync(new URL('../src/main.ts', import.meta.url))
const load = (name) => import(fromSource ? `../src/${name}.ts` : `../dist/src/${name}.js`)
const args = process.argv.slice(2)
// The other modules take a while to load, and a SIGHUP meanwhile would end the process; the config is not read yet.
if (args[0] === undefined || args[0] === 'run' || args[0].startsWith('-')) {
  process.on('SIGHUP', () => {})
  const { catchEarlySignals } = await load('lib/early-signals')
  catchEarlySignals()
} else {
  // Halves the time that a command of the source takes to load. In the user's own folder: Node's default is in a folder
  // that every user may write to. Without one, or where it can't be written to, there is no cache.
  try {
    const folder = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
    if (isAbsolute(folder)) module.enableCompileCache(join(folder, 'sallyport'))
  } catch {
    // A user without a home.
  }
}
const { main } = await load('main')
const version = () => JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version
const code = await main(args, version)
if (code !== undefined) process.exitCode = code
