/* A client in C to hold ours against: what the machine and the server could do if the client cost nothing.
 * Built into a temporary folder by bench/native.py. */
/* fastsource: pipelining C client. -p port -s sessions(processes) -m total msgs -l body bytes -M mode
 * modes: lock (5 writes/msg), p2 (MAIL+RCPT+DATA | body: 2 RTT), p1 (body+'.'+MAIL+RCPT+DATA in one write: 1 RTT),
 *        bdat (MAIL+RCPT+BDAT LAST+msg in one write, window -w messages in flight) */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <time.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
static int fd; static char rb[65536]; static size_t rl; 
static void wr(const char*p,size_t n){ while(n){ ssize_t k=write(fd,p,n); if(k<=0){perror("write");_exit(1);} p+=k;n-=k; } }
/* read nl final reply lines (no multi-line handling except EHLO done separately) */
static int lines(int want){ int got=0; for(;;){ char*p=rb,*e; while(want>got && (e=memchr(p,'\n',rb+rl-p))){ if(p[3]!='-'){ got++; if(p[0]!='2'&&p[0]!='3'){ fprintf(stderr,"bad reply %.60s\n",p); _exit(1);} } p=e+1; } rl-=p-rb; memmove(rb,p,rl); if(got>=want) return got; ssize_t k=read(fd,rb+rl,sizeof rb-rl); if(k<=0){ fprintf(stderr,"eof\n"); _exit(1);} rl+=k; } }
int main(int ac,char**av){ int o,port=0,s=1,m=1000,l=5000,w=1; const char*mode="lock"; while((o=getopt(ac,av,"p:s:m:l:M:w:"))!=-1) switch(o){case'p':port=atoi(optarg);break;case's':s=atoi(optarg);break;case'm':m=atoi(optarg);break;case'l':l=atoi(optarg);break;case'M':mode=optarg;break;case'w':w=atoi(optarg);break;}
 char*msg=malloc(l+300); int n=sprintf(msg,"From: a@x.test\r\nTo: b@y.test\r\nSubject: bench\r\n\r\n"); int col=0; while(n<l){ if(col==76){ msg[n++]='\r';msg[n++]='\n';col=0;} else { msg[n++]='x'; col++; } } msg[n++]='\r'; msg[n++]='\n';
 char*env="MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n";
 for(int i=0;i<s;i++) if(!fork()){ int c=m/s+(i<m%s); fd=socket(AF_INET,SOCK_STREAM,0); int one=1; setsockopt(fd,IPPROTO_TCP,TCP_NODELAY,&one,4); struct sockaddr_in a={.sin_family=AF_INET,.sin_port=htons(port),.sin_addr.s_addr=htonl(INADDR_LOOPBACK)}; if(connect(fd,(void*)&a,sizeof a)){perror("connect");_exit(1);} lines(1); wr("EHLO c\r\n",8); lines(1);
  if(!strcmp(mode,"lock")) while(c--){ wr("MAIL FROM:<a@x.test>\r\n",22); lines(1); wr("RCPT TO:<b@y.test>\r\n",20); lines(1); wr("DATA\r\n",6); lines(1); struct iovec v[2]={{msg,n},{".\r\n",3}}; if(writev(fd,v,2)!=n+3){ fprintf(stderr,"short\n"); _exit(1);} lines(1); }
  else if(!strcmp(mode,"p2")) while(c--){ wr(env,strlen(env)); lines(3); struct iovec v[2]={{msg,n},{".\r\n",3}}; if(writev(fd,v,2)!=n+3){ fprintf(stderr,"short\n"); _exit(1);} lines(1); }
  else if(!strcmp(mode,"p1")){ wr(env,strlen(env)); lines(3); while(c--){ struct iovec v[3]={{msg,n},{".\r\n",3},{env,strlen(env)}}; if(writev(fd,v,c?3:2)<0) _exit(1); lines(c?4:1);} }
  else if(!strcmp(mode,"bdat")){ char h[200]; int hn=sprintf(h,"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nBDAT %d LAST\r\n",n); char*u=malloc((size_t)w*(hn+n)); for(int j=0;j<w;j++){ memcpy(u+(size_t)j*(hn+n),h,hn); memcpy(u+(size_t)j*(hn+n)+hn,msg,n);} while(c>0){ int k=c<w?c:w; wr(u,(size_t)k*(hn+n)); lines(3*k); c-=k; } }
  wr("QUIT\r\n",6); lines(1); _exit(0); }
 int st,bad=0; while(wait(&st)>0) if(st) bad=1; return bad; }
