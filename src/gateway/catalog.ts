import { concerns } from '../../plugins/index.ts'
import { builtin, targets } from '../../routes/index.ts'
import type { Catalog } from '../config/catalog.ts'

/** All concerns and targets of the gateway itself; no other module of src knows them by name. */
export const catalog: Catalog = { concerns, targets, builtin }
