// Prints a CycloneDX SBOM of what a user installs. `npm sbom --omit dev` leaves out packages that a development
// dependency needs, too, so this takes the SBOM of everything, without what the lock file marks as development.
import { execSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

interface Component {
  readonly 'bom-ref': string
  readonly properties?: readonly { readonly name: string }[]
}
interface Bom {
  readonly metadata: { readonly component: Component & { name: string } }
  components: Component[]
  dependencies: { readonly ref: string; dependsOn: string[] }[]
}
interface Locked {
  readonly version?: string
  readonly dev?: true
  readonly devOptional?: true
}

const top = fileURLToPath(new URL('..', import.meta.url))
const { name, packages } = JSON.parse(readFileSync(`${top}package-lock.json`, 'utf8')) as {
  name: string
  packages: Record<string, Locked>
}
const bom = JSON.parse(
  execSync('npm sbom --sbom-format cyclonedx', { cwd: top, encoding: 'utf8', maxBuffer: 2 ** 26 })
) as Bom

const root = bom.metadata.component['bom-ref']
const installed = new Set([
  root,
  ...Object.entries(packages)
    .filter(([, { dev, devOptional }]) => dev === undefined && devOptional === undefined)
    .map(
      ([path, { version }]) =>
        `${path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)}@${version}`
    )
])

// npm names it by its folder.
bom.metadata.component.name = name
bom.components = bom.components
  .filter((each) => installed.has(each['bom-ref']))
  // A package that is also a development dependency has the mark of one.
  .map((each) => ({
    ...each,
    properties: each.properties?.filter((property) => property.name !== 'cdx:npm:package:development') ?? []
  }))
bom.dependencies = bom.dependencies
  .filter(({ ref }) => installed.has(ref))
  .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((each) => installed.has(each)) }))
console.log(JSON.stringify(bom, null, 2))
