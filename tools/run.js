// Runs a TypeScript file of this repository, after a check that this Node.js can. Plain JavaScript on purpose.
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 24 || (major === 24 && minor < 13)) {
  process.stderr.write(
    `This needs Node.js 24.13 or newer, and runs on ${process.versions.node}: npm ci brings one where there is a build for the machine\n`
  )
  process.exit(78)
}
const [file] = process.argv.splice(2, 1)
process.argv[1] = resolve(file)
await import(pathToFileURL(process.argv[1]).href)
