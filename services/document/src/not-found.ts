import { type RpcError, rpcError } from '@docmesh/rpc'

export const documentNotFound = (id: string): RpcError =>
  rpcError('DOCUMENT_NOT_FOUND', `No document has the id "${id}".`, {
    resource: { type: 'document', name: id },
  })

export const versionNotFound = (id: string, number: number): RpcError =>
  rpcError('DOCUMENT_NOT_FOUND', `Document "${id}" has no version ${number}.`, {
    resource: { type: 'document version', name: `${id}/${number}` },
  })
