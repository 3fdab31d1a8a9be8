// Public configs of other gateways in ours, each with the requests that show what it means.
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { certificate, noOpenssl } from './helpers.ts'
import { runScenario, stage } from './scenario.ts'

const configs = fileURLToPath(new URL('configs', import.meta.url))

const folders = readdirSync(configs, { withFileTypes: true }).filter((entry) => entry.isDirectory())

for (const { name } of folders) {
  const isSecure = name === 'A01-seed'
  t.test(name, { skip: isSecure && noOpenssl }, async (t) => {
    const certificates = isSecure ? dirname(certificate(t).ca) : ''
    const more = { CERTIFICATE: join(certificates, 'up.pem'), KEY: join(certificates, 'up.key') }
    await runScenario(t, await stage(t, join(configs, name), more))
  })
}
