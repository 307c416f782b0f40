import { DocumentServiceDefinition } from '@docmesh/contracts/document/v1/document'
import type { Call } from './layer.ts'
import { methodsOf } from './method.ts'

const METHODS = methodsOf(DocumentServiceDefinition)

/** A call as a layer sees it: to a method of DocumentService, with no deadline and nobody to cancel it. */
export function callOf(
  key: keyof typeof DocumentServiceDefinition.methods,
  fields: Partial<Call> = {},
): Call {
  const method = METHODS[key]
  if (!method) throw new Error(`DocumentService has no ${key}.`)
  return {
    method,
    metadata: {},
    deadline: Number.POSITIVE_INFINITY,
    signal: undefined,
    request: {},
    ...fields,
  }
}
