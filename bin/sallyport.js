#!/usr/bin/env -S node --max-semi-space-size=4 --no-allocation-site-pretenuring --v8-pool-size=0
// What a request leaves behind dies young: a small young generation is emptied in a moment. Node.js lets it grow to 64 MB,
// which costs memory, and pauses of 50 ms whenever a new config is taken. V8 has as many threads beside the main one as there
// are cores beside its own: Node.js gives it four, which on one core take up to 28 ms from the main thread at a time. V8
// guesses by what has stayed what will: in two of six starts it put a part of each request into the old generation at once,
// where it keeps alive what it knows, and half of all garbage waited for collections that stop everything for 40 ms.
// Plain JavaScript on purpose: it has to run, and say so, on a Node.js that is too old for the rest.
import { existsSync, readFileSync } from 'node:fs'

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 24 || (major === 24 && minor < 13)) {
  process.stderr.write(`Sallyport needs Node.js 24.13 or newer; this is ${process.versions.node}\n`)
  process.exit(78)
}

// The source wins where it is there, so that a clone never runs a stale build.
const fromSource = existsSync(new URL('../src/main.ts', import.meta.url))
const load = (name) => import(fromSource ? `../src/${name}.ts` : `../dist/src/${name}.js`)
const args = process.argv.slice(2)
// All else takes a while to load, and a SIGHUP in that time would end the process; nothing is read yet that it could reload.
if (args[0] === undefined || args[0] === 'run' || args[0].startsWith('-')) {
  process.on('SIGHUP', () => {})
  const { catchEarlySignals } = await load('lib/early-signals')
  catchEarlySignals()
}
const { main } = await load('main')
const version = () => JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version
const code = await main(args, version)
if (code !== undefined) process.exitCode = code
