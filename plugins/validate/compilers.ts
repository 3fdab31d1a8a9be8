import type { FastifyInstance } from 'fastify'
import { SchemaCompiler } from '../../src/lib/body/json-schema/compiler.ts'
import type { SchemaBundle } from '../../src/lib/body/json-schema/references.ts'
import { forEachSliced } from '../../src/lib/time-slicing.ts'

const leased = new WeakMap<FastifyInstance, Set<SchemaCompiler>>()

/** Takes the compiler of a schema; a reload keeps that of the same schema, and what it has compiled. */
export function leaseCompiler(app: FastifyInstance, bundle: SchemaBundle): SchemaCompiler {
  const compiler = app.resources.lease(app, `validate ${bundle.hash}`, () => new SchemaCompiler(bundle))
  leased.get(app)?.add(compiler)
  return compiler
}

/** Compiles the schemas of an instance once it is ready, in slices, so that hardly a request has to. */
export function compileWhenReady(app: FastifyInstance): void {
  const compilers = new Set<SchemaCompiler>()
  leased.set(app, compilers)
  let isClosed = false
  app.addHook('onReady', async function compileSchemas() {
    void forEachSliced(compilers, (compiler) => {
      if (isClosed) return
      try {
        compiler.at()
      } catch (error) {
        app.log.error({ err: error }, 'schema compilation failed')
      }
    })
  })
  app.addHook('onClose', async function stopCompiling() {
    isClosed = true
  })
}
