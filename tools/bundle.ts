// Bundles the source into dist, for the package: a command that loads 1,300 modules starts half a second later than one
// that loads the same code in a few files. Declarations come from tsc. Packages stay packages, so that audits and licences
// see them, except for TypeBox, which has 500 modules of its own.
import { readFileSync } from 'node:fs'
import { build } from 'esbuild'

const { dependencies, peerDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as {
  readonly dependencies: object
  readonly peerDependencies: object
}
const external = Object.keys({ ...dependencies, ...peerDependencies }).filter((name) => name !== 'typebox')

await build({
  // What bin/sallyport.js and the exports of the package load.
  entryPoints: ['main', 'lib/early-signals', 'index', 'kit/index', 'testing/index'].map(
    (name) => `src/${name}.ts`
  ),
  outbase: '.',
  outdir: 'dist',
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  external: [...external, 'sallyport'].flatMap((name) => [name, `${name}/*`]),
  sourcemap: true,
  logLevel: 'warning'
})
